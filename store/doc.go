// Package store is the database: one type per row, one method per question.
package store
