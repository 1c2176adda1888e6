"""The command line: one file for each command. Start-up counts, so nothing heavy is imported at the top."""
