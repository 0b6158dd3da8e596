// Package rest is the JSON dialect of the API: typed operations, pages, one
// mapping of errors to problem documents, and what a handler may know about
// the request that it answers.
package rest
