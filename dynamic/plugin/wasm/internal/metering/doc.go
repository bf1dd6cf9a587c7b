// Package metering adds a meter to WebAssembly modules. It lets the host stop a module at its
// deadline, even if the module is in a loop, a recursion or a long instruction. It also makes
// modules return to Go regularly. Go cannot interrupt compiled WebAssembly. Without the meter, a
// garbage collection, and with it the whole process, would therefore have to wait until a module
// returns. The package rewrites bytes and knows neither plugins nor services.
//
// # Use
//
// [Instrument] rewrites a module before it is compiled. The rewritten module imports a function
// named [ExportName] from a host module, whose name is a parameter of Instrument. That host module
// must export the function [Check] under the name ExportName.
//
// # How the meter works
//
// Instrument adds the following to a module:
//
//   - a global variable, the meter, which the module's own instructions cannot access;
//   - an import of the host function Check;
//   - a meter point at the start of every function and every loop body;
//   - a meter point before every bulk memory instruction and every call to an imported function.
//
// Code that runs forever must repeat loops or calls, so it passes through meter points repeatedly.
// A meter point subtracts a cost from the meter, which takes a subtraction and a predictable
// branch. When the meter reaches zero, about every 50 µs, the meter point calls Check, which checks
// the context of the call.
//
// # Why modules are rewritten
//
// wazero has an option for the same purpose, WithCloseOnContextDone. With this option, every loop
// iteration calls Go to check a flag. In measurements, this made computations ten times slower. The
// option also does not check recursion.
//
// # What is refused
//
// The compiler validates a module, but allocates memory for declared items before it reads them. A
// module of 20 bytes could exhaust the host's memory. Instrument therefore refuses a module with a
// list whose declared length is greater than the number of bytes that follow. It also limits local
// variables and table elements. Unknown instructions are refused, too, because Instrument cannot
// find the start of the instruction that follows.
package metering
