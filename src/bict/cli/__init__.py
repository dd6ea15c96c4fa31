"""The command line: no logic, only parse, call, print."""
