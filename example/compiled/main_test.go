package main

func Example_main() {
	main()
	// Output:
	// Ada is at host-7, total 42, eu-west-1 had 3 visits
	// without an address: code invalid_argument, "address is missing", details of type *api.MyRequest
}
