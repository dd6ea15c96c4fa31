"""The verbs: each joins the rooms into one step of an upgrade, on files, and is a command of the same name.

Nothing is imported here, so that `bict.workflow.upgrade` does not load the code that reads images.
"""
