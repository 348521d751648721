"""Labels: which exist (``synsets``) and which of them may be shown (``policy``)."""
