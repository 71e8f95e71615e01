"""A rented model as an endpoint of this computer, in the shapes that programs for text models know."""
