"""How prices come about: pure functions of typed inputs, each with its working shown."""
