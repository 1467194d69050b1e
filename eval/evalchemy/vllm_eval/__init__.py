"""The runner: evaluates one served model and publishes scores that can be trusted."""
