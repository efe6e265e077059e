*** Settings ***
Documentation       The image boots, without any manual step, to a router that is whole and closed.
Library             lab.keywords.labs
Library             lab.keywords.system
Suite Setup         Appliance Is Booted    next_hops
Suite Teardown      Boot Is Over
Test Tags           smoke


*** Test Cases ***
The Serial Console Shows A Login Prompt
    Console Shows    login:

The UEFI Firmware Starts The Kernel From The Disk
    Disk Should Have Booted By    UEFI

No Unit Has Failed
    No Unit Should Have Failed

The Fast Path And Its Daemons Run
    FOR    ${unit}    IN    sluice.target    fpmd.service    fp-rte.service    cmgrd.service
        Daemon Should Run    ${unit}
    END

Every Port But The First Is The Fast Path's
    Every Port Should Be Bound
    Management Port Should Belong To Linux

The Fast Path's Settings Are Accepted
    Fast Path Check Should Find Nothing Wrong

The Appliance Says Its Version
    Version Should Be Shown

Nothing Listens But SSH
    Only SSH Should Listen

SSH Lets Nobody In By Password
    Password Login Should Be Refused


*** Keywords ***
Boot Is Over
    Keep What Explains Failures
    Save The Booted Appliance
