*** Settings ***
Documentation       The same forwarding, with the fast path on virtual functions of emulated igb NICs.
Library             lab.keywords.labs
Library             lab.keywords.sriov
Library             lab.keywords.forwarding
Suite Setup         Router Is Up
Suite Teardown      Keep What Explains Failures


*** Test Cases ***
The Ports Are Virtual Functions
    Ports Should Be Virtual Functions

Pings Are Carried Both Ways
    Ping Should Be Carried    h1    h2    4
    Ping Should Be Carried    h2    h1    4
    Ping Should Be Carried    h1    h2    6
    Ping Should Be Carried    h2    h1    6

Frames Come Out As Linux Would Send Them
    Frames Should Come Out Right    h1    h2    4
    Frames Should Come Out Right    h2    h1    6

TCP Is Carried
    Flow Should Be Carried    TCP    h1    h2    4
    Flow Should Be Carried    TCP    h2    h1    6

UDP Is Carried
    Flow Should Be Carried    UDP    h2    h1    4
    Flow Should Be Carried    UDP    h1    h2    6

Traceroute Shows The Appliance
    Trace Should Show The Appliance    h1    h2    4
    Trace Should Show The Appliance    h2    h1    6

A Packet Too Big For The Way Is Reported To Its Sender
    Port MTU Is    p2    1400
    Path MTU Should Be Reported    h1    h2    4    1400
    Path MTU Should Be Reported    h1    h2    6    1400
    [Teardown]    Port MTU Is    p2    1500


*** Keywords ***
Router Is Up
    Appliance Is Booted    sriov
    Fast Path Has Virtual Functions
    Hosts Know The Appliances IPv6 Neighbours
    Appliance Is Configured
