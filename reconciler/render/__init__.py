"""Values turned into text: errors, plans, command lines, status, verification, progress."""
