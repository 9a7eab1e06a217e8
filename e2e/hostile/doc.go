// Hostile attacks a built lzstock from outside, over loopback, beside healthy clients
// of several users. It prints how old prices are without and with each attack, what
// healthy clients were told and lost, what the attack took of the processes, and how
// long until they gave that back. It ends with status 1 if a promise is broken.
//
//	go run ./e2e/hostile --help
//	go run ./e2e/hostile --attack walk --duration 1h
//	go run ./e2e/hostile --binary ./lzstock-before --json before.json
//
// An attack is a row in one of the tables of attacks and a function that plays it in
// a process of its own. The attack walk makes up commands within the limits, to find
// what else is dear.
package main
