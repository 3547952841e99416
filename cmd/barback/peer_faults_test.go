package main

var peerFaults []peerRow
