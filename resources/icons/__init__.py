"""The icons: one SVG of 24 by 24 units each, drawn in `currentColor` and tinted from the palette."""
