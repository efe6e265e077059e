*** Settings ***
Documentation       Load from a TRex server, which the user names with TREX; without one these tests are skipped.
Library             lab.keywords.labs
Library             lab.keywords.load
Suite Teardown      Keep What Explains Failures
Test Setup          Load Generator And Router Are Up
Test Tags           trex


*** Test Cases ***
Small IPv4 Packets Of One Flow Are Forwarded
    Load Should Be Forwarded    4    10000    10    1

Small IPv4 Packets Of Many Flows Are Forwarded
    Load Should Be Forwarded    4    10000    10    64


*** Keywords ***
Load Generator And Router Are Up
    Load Generator Is There
    Appliance Is Up    next_hops
    Appliance Is Configured
