// Package fault breaks LZStock on purpose, and holds it to what it promises then:
// clients are told, nothing is lost or doubled, and it comes back by itself. Whole
// processes run on loopback, or in network namespaces of their own where a test may
// make them; clients keep ledgers that must balance against what the bus holds and
// what the tape says.
//
// A fault proves that it fired before a test believes what came of it. What chance
// decides follows the seed that is printed, which -seed takes.
package fault
