"""Training code of vs-mini-1, the picture and word encoder built into visual_search."""
