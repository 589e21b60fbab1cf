"""The search loop and what scores a candidate."""
