"""Import of files: rows in, facts out, every row explained.

Owns mappings, readers and the resumable run. Talks to a hub like any touchpoint; knows nothing of its inside.
"""
