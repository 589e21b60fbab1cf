"""Errors, files, random state and command lines; imports no other room."""
