package main

// version is part of each answer. The example builds a second version with another value.
const version = "1"
