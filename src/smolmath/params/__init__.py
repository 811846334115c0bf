"""params.yaml, one module a section, so that a stage's deps name only the sections it reads."""
