package main

func Example_main() {
	main()
	// Output:
	// single:      three calls were answered by one server each
	// affinity:    the idlest server answered: asia-1 says 42
	// multi:       every server answered: ["asia-1 says here" "eu-1 says here" "us-1 says here"]
	// topic:       the server of the topic answered: us-1 says howdy
	//              on a topic that nobody serves the call failed at once: nobody listening
	// stream:      "echo of one" came back
	// queue:       of four jobs one subscriber got 2, the other 2
	// subscribers: all got "it rains"
}
