from smolmath.running import edits as edits  # before all other code of the package, whose contents it notes
