*** Settings ***
Documentation       The same image boots by BIOS, from grub, and is as whole as by UEFI.
Library             lab.keywords.labs
Library             lab.keywords.system
Suite Setup         Appliance Is Booted By BIOS    two_hosts
Suite Teardown      Keep What Explains Failures


*** Test Cases ***
The BIOS Starts The Kernel From The Disk
    Disk Should Have Booted By    BIOS

No Unit Has Failed
    No Unit Should Have Failed

The Fast Path And Its Daemons Run
    FOR    ${unit}    IN    sluice.target    fpmd.service    fp-rte.service    cmgrd.service
        Daemon Should Run    ${unit}
    END

Every Port But The First Is The Fast Path's
    Every Port Should Be Bound
