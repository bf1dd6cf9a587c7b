// Package trial finds out whether psrpc processes serve a routing key that no dynpsrpc process
// serves.
//
// A frame whose routing key no dynpsrpc process serves is unserved. Then either psrpc processes
// serve it, or no process does, for example because a subscription method has no subscribers. The
// NATS server does not know which is the case, so the bus runs a trial to find out. The package
// decides and keeps the results. It sends nothing: its owner returns frames to the queue group,
// drops them, and says which frames have come back.
//
// # How a trial works
//
// In a trial, the bus returns a few frames with the routing key to the queue group. dynpsrpc
// processes that do not serve the routing key return them again. After a number of forwards, the
// last process reports to this bus that no process has taken the frame. If no process takes any of
// the frames, the trial has failed, and frames with the routing key are dropped for some time.
//
// A frame does not come back if it reaches a psrpc process, even one that drops it. The trial then
// succeeds, and further frames are returned to the group.
//
// # Usage
//
// [Trials.Decide] says what to do with an unserved frame. The owner calls [Trials.CameBack] when a
// frame that it has returned comes back, and [Trials.Succeed] when Decide's timer says that a frame
// has not. Both return the frames that have waited for the result of the trial.
//
// # Ordering and concurrency
//
// All methods are safe for concurrent use. They call the methods of frames while a mutex is held,
// so these must only return values. The timer calls the owner without holding the mutex.
//
// # Why frames wait
//
// While the first trial of a routing key runs, further frames wait for its result, because sending
// all of them back to the queue group would cost up to 16 deliveries each. The number and size of
// waiting frames are limited, and so is the number of routing keys, because peers choose what they
// send. If the previous trial has succeeded, no frames wait.
package trial
