// Hostile measures what garbage from the internet does to the clients of a
// gateway: how old prices are when they come, in peace and then under a flood of
// connections that are no clients, and whether anything of the flood stays
// behind. It runs all processes itself, on loopback, and ends with status 1 where
// a demand does not hold.
//
//	go run ./e2e/hostile --duration 60s
//
// What stands behind its own flags goes to the gateway, such as -- --max-waiting 100.
package main
