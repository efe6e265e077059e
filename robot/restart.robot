*** Settings ***
Documentation       Whatever is killed comes back by itself, knows what Linux says again, and traffic goes on.
Library             lab.keywords.labs
Library             lab.keywords.restart
Library             lab.keywords.system
Suite Setup         Router Is Up
Suite Teardown      Keep What Explains Failures


*** Test Cases ***
The Cache Manager Can Be Killed
    [Documentation]    The fast path doesn't notice.
    Daemon Can Be Killed Under Traffic    cmgrd    1

The Fast Path Manager Can Be Killed
    [Documentation]    The fast path goes on with the tables it has.
    Daemon Can Be Killed Under Traffic    fpmd    1

The Fast Path Can Be Killed
    [Documentation]    Packets are lost until it's up again; Linux keeps its configuration.
    Daemon Can Be Killed Under Traffic    fp-rte    60

All Of Them Are Whole Afterwards
    No Unit Should Have Failed


*** Keywords ***
Router Is Up
    Appliance Is Up    next_hops
    Appliance Is Configured
