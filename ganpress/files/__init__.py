"""Reading and writing files that somebody else may have made: checked, and in bounded memory."""
