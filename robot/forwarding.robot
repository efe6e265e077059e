*** Settings ***
Documentation       Linux is configured, the fast path forwards: at least 99 % of the packets, by its own counters and by
...                 Linux's.
Library             lab.keywords.labs
Library             lab.keywords.forwarding
Suite Setup         Router Is Up
Suite Teardown      Keep What Explains Failures


*** Test Cases ***
IPv4 Pings Are Carried Both Ways
    [Tags]    smoke
    Ping Should Be Carried    h1    h2    4
    Ping Should Be Carried    h2    h1    4

IPv6 Pings Are Carried Both Ways
    [Tags]    smoke
    Ping Should Be Carried    h1    h2    6
    Ping Should Be Carried    h2    h1    6

IPv4 Frames Come Out As Linux Would Send Them
    [Tags]    smoke
    Frames Should Come Out Right    h1    h2    4
    Frames Should Come Out Right    h2    h1    4

IPv6 Frames Come Out As Linux Would Send Them
    [Tags]    smoke
    Frames Should Come Out Right    h1    h2    6
    Frames Should Come Out Right    h2    h1    6

TCP Is Carried
    [Tags]    smoke
    Flow Should Be Carried    TCP    h1    h2    4
    Flow Should Be Carried    TCP    h2    h1    6

UDP Is Carried
    [Tags]    smoke
    Flow Should Be Carried    UDP    h2    h1    4
    Flow Should Be Carried    UDP    h1    h2    6

TCP And UDP Are Carried The Other Way
    Flow Should Be Carried    TCP    h2    h1    4
    Flow Should Be Carried    TCP    h1    h2    6
    Flow Should Be Carried    UDP    h1    h2    4
    Flow Should Be Carried    UDP    h2    h1    6

The Appliance Itself Answers
    Appliance Should Answer    h1    4
    Appliance Should Answer    h1    6

Traceroute Shows The Appliance
    [Tags]    smoke
    Trace Should Show The Appliance    h1    h2    4
    Trace Should Show The Appliance    h1    h2    6

Traceroute Shows The Appliance The Other Way And With ICMP
    Trace Should Show The Appliance    h2    h1    4    ICMP
    Trace Should Show The Appliance    h2    h1    6    ICMP

An Expired Packet Is Reported To Its Sender
    Time Exceeded Should Be Reported    4
    Time Exceeded Should Be Reported    6

A Packet Without A Route Is Reported To Its Sender
    Lack Of A Route Should Be Reported    4
    Lack Of A Route Should Be Reported    6

A Packet Too Big For The Way Is Reported To Its Sender
    [Tags]    smoke
    Port MTU Is    p2    1400
    Path MTU Should Be Reported    h1    h2    4    1400
    Path MTU Should Be Reported    h1    h2    6    1400
    [Teardown]    Port MTU Is    p2    1500

The IPv4 Next Hop Changes Under Traffic
    [Tags]    smoke
    Next Hop Can Change Under Traffic    4

The IPv6 Next Hop Changes Under Traffic
    Next Hop Can Change Under Traffic    6


*** Keywords ***
Router Is Up
    Appliance Is Up    next_hops
    Appliance Is Configured
