"""The process on another machine of the owner: an agent, its house rules, and the way to the owner's node."""
