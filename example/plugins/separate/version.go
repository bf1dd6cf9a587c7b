package main

// version is included in each answer of the plugin. The plugins command builds a second version of
// the plugin with a different value.
const version = "1"
