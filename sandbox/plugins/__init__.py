"""Stand-ins for two Pulumi plugins that no package registry carries.

They serve the sandbox only: the official plugins, where they are installed,
are used instead, and users never meet these. They know the dozen kinds that
this program declares and are not to grow beyond them.
"""
