package main

// version is included in each answer. The example builds the second version with another value.
const version = "1"
