package main

// version is what the answers tell.
const version = "1"
