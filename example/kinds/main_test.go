package main

func Example_main() {
	main()
	// Output:
	// single:      one server answered each of three calls
	// affinity:    the server with the highest affinity answered: asia-1 says 42
	// multi:       every server answered: ["asia-1 says here" "eu-1 says here" "us-1 says here"]
	// topic:       the server registered for the topic answered: us-1 says howdy
	//              a call to a topic without a server failed at once: nobody listening
	// stream:      the server sent back "echo of one"
	// queue:       two subscribers shared four jobs: 2 and 2
	// subscribers: every subscriber got "it rains"
}
