"""Files through signed URLs."""
