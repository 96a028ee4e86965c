"""What a tree beside a target holds, and how it comes there: read, known again, built."""
