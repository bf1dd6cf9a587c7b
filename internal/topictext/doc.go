// Package topictext converts topics to text, for example for the attributes of metrics and spans.
package topictext
