#!/bin/sh
# What mod_cgi starts (barback-cgi.conf). suexec runs no program outside its docroot and no symbolic link, so this
# file is copied to /var/www/barback; it and the folder belong to barman:barman and nobody else may write to them:
#   install -d -o barman -g barman -m 0755 /var/www/barback
#   install -o barman -g barman -m 0755 barback.cgi /var/www/barback/
exec /usr/bin/barback
