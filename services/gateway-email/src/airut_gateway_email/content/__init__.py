"""What a mail says: its parts, its character sets, the text its author wrote. Nothing here asks who the author is."""
