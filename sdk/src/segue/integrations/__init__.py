"""Small bridges to what hosts already use, one file each."""
