"""Pages for people: one self-contained HTML file a run, and an index of all models and runs.

All of a page comes from the results store. It asks the network for nothing
when it is opened, and its Content-Security-Policy lets it run its own script
only; text of a model is never made into markup.
"""
