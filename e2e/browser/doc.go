// Package browser tests the gateway's page in a real browser, against the real
// binary: headless Chromium, driven by its own protocol. Without Chromium the tests
// are skipped, where CI=true they fail.
//
// Each test keeps pictures of what it saw in pictures/, for people to look at. No
// test may leave a word on the page's console that it has not announced.
package browser
