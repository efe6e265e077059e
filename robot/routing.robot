*** Settings ***
Documentation       The image's FRR, as it is, learns networks from a neighbour; the fast path forwards to them.
Library             lab.keywords.labs
Library             lab.keywords.routing
Suite Setup         Router Has A Neighbour
Suite Teardown      Neighbour Goes


*** Test Cases ***
A Network Announced By OSPF Is Carried
    Announced Network Should Be Carried    OSPF

A Network Announced By BGP Is Carried
    Announced Network Should Be Carried    BGP

A Network Announced By OSPFv3 Is Carried
    Announced Network Should Be Carried    OSPFv3

An IPv6 Network Announced By BGP Is Carried
    Announced Network Should Be Carried    BGP for IPv6

What Is Withdrawn Vanishes From The Fast Path
    Withdrawn Network Should Vanish    BGP
    Withdrawn Network Should Vanish    OSPFv3


*** Keywords ***
Router Has A Neighbour
    Appliance Is Up    next_hops
    Appliance Is Configured
    FRR Runs On The Appliance
    Neighbour Announces Networks

Neighbour Goes
    Neighbour Is Gone
    Keep What Explains Failures
