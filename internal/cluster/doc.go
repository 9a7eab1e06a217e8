// Package cluster runs many processes of one binary on this machine, for
// development: what `lzstock cluster up` does. It knows nothing of what they are.
//
// What it promises:
//
//   - Processes of a group start together, once those of the groups before are
//     ready. They end in the reverse order, politely, or after StopTimeout by
//     force.
//   - One that dies is told about and started again, after a pause that grows.
//   - None outlives this process, however that ends: on Linux the kernel kills
//     them, and elsewhere those that were told to watch their standard input end
//     when it does (Lifeline).
package cluster
