package main

func Example_main() {
	main()
	// Output:
	// loaded quickstart.MyService with 9 methods
	// Shout with well-known types answered "HELLO!"
	// NormalRPC with dynamic messages answered "Hello, Ada!"
	// NormalRPC with JSON answered "Hello, Grace!"
	// NormalRPC without a name failed with code invalid_argument: "name is empty"
}
