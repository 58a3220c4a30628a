"""The bank's month of calls: mapping, plan, and a question asked at every call."""
