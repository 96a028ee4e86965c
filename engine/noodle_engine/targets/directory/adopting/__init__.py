"""Making a directory that is deployed the first version of a component."""
