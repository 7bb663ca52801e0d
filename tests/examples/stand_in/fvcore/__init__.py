"""As much of fvcore as the examples use."""
